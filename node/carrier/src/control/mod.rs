//! The daemon's way to give orders: JSON lines over a UNIX socket.
//!
//! A request is `{"id": 7, "op": "status", ...}`; its reply has the same id and one of `"ok": null`,
//! `"status": {...}` or `"error": "..."`. After `subscribe` lines with an `"event"` come in between. A line is
//! at most 1 MiB; what cannot be understood gets an error (with the id, if there was one), and the connection
//! goes on. Requests may be repeated and connections re-opened at any time: the carrier keeps its state.

mod client;
#[cfg(feature = "fuzz")]
mod fuzz;
mod line;
mod message;
mod server;

pub use client::{Client, ClientError, Events};
#[cfg(feature = "fuzz")]
pub(crate) use fuzz::{fuzz_line, fuzz_seeds};
#[cfg(feature = "fuzz")]
pub(crate) use line::{Line, read_line};
pub use message::{
    AcceptMove, Channel, CloseReason, Compress, Event, GuestState, LimitedBy, LinkStatus,
    MoveState, MoveStatus, OpenMove, PeerStatus, SetMove, SetShare, Status,
};
pub(crate) use server::{listen, serve};
