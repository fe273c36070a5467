"""Market data files for replay: Parquet, CSV and Arrow, checked, merged and streamed."""

from adapters.files.dataset import Dataset
from adapters.files.opening import open_dataset

__all__ = ["Dataset", "open_dataset"]
