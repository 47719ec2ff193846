"""The Kaggle copies of AffectNet: class folders and one ``labels.csv``."""
