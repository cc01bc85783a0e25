"""A master key that AWS KMS seals, through boto3 (the extra `aws`): envelope encryption with a data key.

What AWS KMS does is bound to an encryption context, which it shows in its own log, and checks when it opens.
"""

from importlib import import_module
from typing import Final

from services.kit.process import StartError
from services.kms.config import AwsKms
from services.kms.sealing import MASTER_KEY_LENGTH

_CONTEXT: Final = {"edge-passport": "kms-master-key"}
_ATTEMPTS: Final = 3


class AwsWrapping:
    """AWS KMS through boto3, which finds its credentials as it always does."""

    def __init__(self, config: AwsKms) -> None:
        """Make the client; StartError when boto3 is not installed, or knows no region."""
        try:
            boto3, botocore = import_module("boto3"), import_module("botocore.config")
            errors = import_module("botocore.exceptions")
        except ModuleNotFoundError:
            raise StartError("a master key in AWS KMS needs boto3: install edge-passport[aws]") from None
        self._errors: tuple[type[Exception], ...] = (errors.BotoCoreError, errors.ClientError)
        self._key_id = config.key_id
        patience = botocore.Config(
            connect_timeout=config.timeout_s,
            read_timeout=config.timeout_s,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        try:
            self._client = boto3.client(
                "kms", region_name=config.region, endpoint_url=config.endpoint_url, config=patience
            )
        except (*self._errors, ValueError) as error:
            raise self._failed(error) from None

    def new(self) -> tuple[bytes, bytes]:
        """Return a new data key, and the same as AWS KMS has encrypted it."""
        try:
            answer = self._client.generate_data_key(
                KeyId=self._key_id, NumberOfBytes=MASTER_KEY_LENGTH, EncryptionContext=_CONTEXT
            )
        except self._errors as error:
            raise self._failed(error) from None
        return _whole(answer["Plaintext"]), bytes(answer["CiphertextBlob"])

    def open(self, wrapped: bytes) -> bytes:
        """Return the data key."""
        try:
            answer = self._client.decrypt(KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=_CONTEXT)
        except self._errors as error:
            raise self._failed(error) from None
        return _whole(answer["Plaintext"])

    def _failed(self, error: Exception) -> StartError:
        return StartError(f"the master key cannot be had from AWS KMS: {' '.join(str(error).split())}")


def _whole(key: bytes) -> bytes:
    if len(key) != MASTER_KEY_LENGTH:
        raise StartError("the master key cannot be had from AWS KMS: its answer holds no key of 32 bytes")
    return bytes(key)
