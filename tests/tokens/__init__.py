"""Tests of the tokens: bytes in, claims or one refusal out."""
