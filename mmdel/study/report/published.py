"""The paper's Tables 2, 3 and 4 as data, to compare with your own figures.

    TABLE_3['Kvasir-SEG'][0.20]     # (76.37, 65.14): mIoU and NormDEL, in percent

Every NormDEL of Table 3 follows from the mIoU beside it with alpha = 1 and the retentions below: the column headed "30%" is the
33 % subset. Table 4 counts epochs; its last columns, 1,000 and 600, are the whole pre-trainings.
"""

from dataclasses import dataclass

RETENTIONS = (0.05, 0.10, 0.20, 0.33, 0.50, 1.00)


@dataclass(frozen=True)
class Setting:
    """A row of Table 2."""

    eta: float
    kept: int
    epochs: int


TABLE_2 = {
    1.00: Setting(1.00, 88_282, 200),
    0.50: Setting(0.90, 43_484, 400),
    0.33: Setting(0.85, 28_352, 600),
    0.20: Setting(0.80, 16_789, 1000),
    0.10: Setting(0.75, 9_055, 2000),
    0.05: Setting(0.70, 4_461, 4000),
}
"""Retention -> eta, images kept of 88,282, epochs."""

# mIoU and NormDEL in turn, by retention
_TABLE_3 = {
    'Kvasir-Instrument': (79.38, 68.03, 79.52, 67.25, 80.22, 65.85, 80.38, 64.06, 80.48, 61.97, 79.70, 57.28),
    'Kvasir-SEG': (75.45, 67.21, 75.74, 66.49, 76.37, 65.14, 76.03, 63.33, 76.77, 61.43, 76.02, 56.95),
    'ImageCLEFmed': (70.95, 66.26, 71.80, 65.69, 71.44, 64.22, 72.58, 62.76, 71.23, 60.64, 72.02, 56.59),
    'ETIS': (47.50, 61.11, 49.44, 61.00, 50.20, 60.13, 50.28, 58.94, 49.62, 57.47, 49.13, 54.51),
    'PolypGen2021': (60.93, 64.10, 61.61, 63.59, 61.47, 62.32, 62.28, 61.01, 62.20, 59.32, 60.89, 55.58),
    'CVC-300': (63.67, 64.69, 56.69, 62.55, 61.40, 62.31, 62.85, 61.11, 61.97, 59.29, 61.16, 55.60),
    'CVC-ClinicDB': (75.24, 67.16, 74.58, 66.26, 75.27, 64.94, 75.50, 63.25, 75.49, 61.25, 74.95, 56.85),
    'CVC-ColonDB': (69.52, 65.96, 68.58, 65.03, 69.90, 63.93, 71.60, 62.59, 69.72, 60.42, 69.48, 56.36),
}

TABLE_3 = {
    name: dict(zip(RETENTIONS, zip(values[::2], values[1::2], strict=True), strict=True))
    for name, values in _TABLE_3.items()
}
"""Dataset -> retention -> (mIoU, NormDEL), in percent."""

EPOCHS_4 = {0.20: (200, 300, 400, 500, 700, 800, 900, 1000), 0.33: (240, 360, 420, 480, 540, 600)}

# mIoU by epochs: of the 20 % subset, then of the 33 % subset
_TABLE_4 = {
    'Kvasir-Instrument': (
        *(80.21, 79.73, 79.98, 80.01, 80.06, 80.11, 80.22, 80.22),
        *(80.25, 80.50, 80.32, 80.39, 80.41, 80.38),
    ),
    'Kvasir-SEG': (
        *(75.80, 75.69, 76.13, 75.90, 76.25, 76.33, 76.39, 76.37),
        *(75.73, 75.94, 75.84, 76.07, 75.78, 76.03),
    ),
    'ImageCLEFmed': (
        *(71.44, 71.60, 71.44, 72.91, 71.51, 71.52, 71.84, 71.44),
        *(72.59, 72.32, 72.34, 72.54, 72.19, 72.58),
    ),
    'ETIS': (
        *(49.07, 49.70, 50.88, 51.11, 50.96, 51.13, 51.01, 50.20),
        *(49.54, 51.23, 51.30, 50.28, 50.79, 50.28),
    ),
    'PolypGen2021': (
        *(61.64, 61.32, 61.54, 61.00, 61.47, 61.15, 61.30, 61.47),
        *(61.15, 61.62, 62.10, 62.28, 62.29, 62.28),
    ),
    'CVC-300': (
        *(58.66, 57.52, 56.81, 60.59, 61.51, 60.78, 60.00, 61.40),
        *(62.09, 62.34, 64.40, 61.40, 63.34, 62.85),
    ),
    'CVC-ClinicDB': (
        *(74.66, 75.56, 75.48, 75.29, 75.11, 74.83, 75.41, 75.27),
        *(75.44, 75.11, 75.24, 75.17, 75.28, 75.50),
    ),
    'CVC-ColonDB': (
        *(69.83, 70.17, 70.68, 69.65, 70.62, 70.10, 69.89, 69.90),
        *(72.09, 71.62, 70.89, 71.43, 71.95, 71.60),
    ),
}

TABLE_4 = {
    name: {
        0.20: dict(zip(EPOCHS_4[0.20], values[:8], strict=True)),
        0.33: dict(zip(EPOCHS_4[0.33], values[8:], strict=True)),
    }
    for name, values in _TABLE_4.items()
}
"""Dataset -> retention -> epochs of pre-training -> mIoU in percent."""
