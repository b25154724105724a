"""What talks to the cluster and to the person in front of it. The modules here are doors: processes enter by them."""
