"""HTTP/1.1 framing: llhttp reads heads, our own strict readers frame bodies. No sockets.

Why bodies are ours: docs/decisions/0004. What is accepted and what is refused: docs/supported_http.md.
"""
