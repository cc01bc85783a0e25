"""What reading a Passport costs an origin: each middleware beside the same app without it, and beside open cookies."""
