//! The data plane: listeners, filters, clusters, stats, admin, xDS client.
