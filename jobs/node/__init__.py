"""An array task on its node, without torch: claim, prepare, start the training, publish, requeue; only `cluster.task` and local workers enter."""
