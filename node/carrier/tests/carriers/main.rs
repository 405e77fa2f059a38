//! Two carriers on loopback, each in a runtime of its own, with a link in between that can be cut.

mod adoption;
mod hostile;
mod measure;
mod outage;
mod pacing;
mod relay;
mod streams;
mod world;
