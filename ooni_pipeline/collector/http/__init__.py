"""The service that probes talk to: the collector's protocol of all generations, over HTTP."""
