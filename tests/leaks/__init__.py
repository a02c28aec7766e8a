"""A second, independent search for what must not be public: it shares no code with the pipeline.

``python -m tests.leaks --help`` says how it is used. A test looks with ``ast`` that no module here but the
tests themselves imports the pipeline: a fault that both had would be seen by neither.
"""
