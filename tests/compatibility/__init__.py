"""What people do with BERT models, one row each: run on stock and on bertfast, compared, and the path recorded."""
