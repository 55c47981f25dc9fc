//! where the kernel lies
