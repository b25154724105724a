"""This package talks to the cluster and to the person in front of it. Its own modules are doors: processes enter by them."""
