"""What a job is, does and leaves. The modules here are the ground floor: every room of `jobs` and `cluster` may enter."""
