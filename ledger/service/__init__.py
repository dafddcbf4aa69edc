"""The ledger as a service: gRPC around one sequencer, with access levels and encrypted bodies."""
