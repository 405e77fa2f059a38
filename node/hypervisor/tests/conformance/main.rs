//! Both implementations of `Hypervisor` against one suite.

mod embedded;
mod suite;
