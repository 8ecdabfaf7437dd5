"""Table or tensors -> split -> preprocessing fitted on train only -> batches."""
