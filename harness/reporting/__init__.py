"""What is made of a finished task's files: findings, intervals, reports, comparisons, exports."""
