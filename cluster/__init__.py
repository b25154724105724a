"""What talks to the cluster and to the person in front of it."""
