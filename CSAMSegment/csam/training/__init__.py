"""Training, calibration and evaluation: everything that needs cases with known truth. Needs MONAI and scikit-learn."""
