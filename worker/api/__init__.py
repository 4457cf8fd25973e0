"""The HTTP interface: jobs and studies in, results, the worklist and documents out, verdicts and pathology back."""
