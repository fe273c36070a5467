"""Orders over gRPC: the link to an Order Management System, and a reference one."""
