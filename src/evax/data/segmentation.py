"""Data sets with masks, by name."""

from evax.data.module import PackDataModule


class LungData(PackDataModule):
    """Lung masks (Zhang 2019): 800 and 200 films of RSNA."""


class MaskFolderData(PackDataModule):
    """Films and masks of the user's own, in folders beside each other."""


class SiimData(PackDataModule):
    """SIIM-ACR Pneumothorax Segmentation (2019): 2,669 films with a pneumothorax, outlined."""


class RsnaData(PackDataModule):
    """RSNA Pneumonia Detection Challenge (2018): 6,012 films with boxes of lung opacities."""


class ShenzhenData(PackDataModule):
    """Tuberculosis in the Shenzhen set (Jaeger et al. 2014; Yang et al. 2022): 336 abnormal films, outlined."""
