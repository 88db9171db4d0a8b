"""The experiments of the paper."""

SWEEPS = (
    "fc",
    "fc_mse",
    "fc_small",
    "cnn",
    "cnn_bn",
    "wrn",
    "wrn_aug",
    "wrn_schedule",
    "wrn_sigma",
    "resnet",
)
AUTOL2 = ("wrn", "wrn_schedule", "fc", "cnn", "cnn_bn")
