"""Manifests describe data sets byte for byte; rooms that seal, stage or verify data may enter, a training does not."""
