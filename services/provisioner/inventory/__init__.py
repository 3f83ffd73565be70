"""The organisation as AWS has it, kept as documents: read, compared, published."""

from services.provisioner.inventory.reading import HalfRead
from services.provisioner.inventory.sync import InventorySync, SyncResult, preload

__all__ = ["HalfRead", "InventorySync", "SyncResult", "preload"]
