//! What carriers say to each other inside TLS: first a greeting, then frames.

mod frame;
mod greeting;

pub(crate) use frame::{
    Frame, Header, Kind, MAX_BLOCK, MAX_CHANNEL_NAME, blank_frame, control_frame, sequenced_frame,
    stamp, wire_length,
};
pub(crate) use greeting::{
    Answer, Hello, LaneKey, MAX_STREAMS, Refusal, VERSION, read_confirmation, read_message,
    write_confirmation, write_message,
};
