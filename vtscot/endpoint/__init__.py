"""One OpenAI-compatible endpoint: canonical requests, images, transport with retries, and answers that are paid once.

Teachers and verifiers that ask a model share one `ChatClient`; it alone knows HTTP, and the ledger alone remembers.
"""
