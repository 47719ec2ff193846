"""The Kaggle form of RAF-DB basic: class folders 1..7 and one CSV file a split."""
