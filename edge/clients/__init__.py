"""The adapters of what filters may call: KMS and token services, over aiohttp."""
