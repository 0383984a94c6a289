"""Our GPU kernels against cuDNN, and against what the device can do."""
