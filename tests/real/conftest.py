"""A real DICOM study, as the archive distributes it."""

import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def study(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of LIDC-IDRI-0001: 133 slices and the readers' XML."""
    archive = real_data / "lidc_dicom" / "LIDC-IDRI-0001.tar.xz"
    if not archive.is_file():
        pytest.skip(f"needs {archive.name} in AMBISEG_REAL_DATA")
    folder = tmp_path_factory.mktemp("study")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder
