//! What a carrier decodes, for the fuzzer: bytes in, nothing out, no panic.
//!
//! Compiled only with the cargo feature `fuzz`. The functions take what would come from a socket
//! and do what the carrier does with it, short of its effects.

use std::collections::BTreeMap;

use futures::FutureExt;

use crate::{
    control::{CloseReason, Line, fuzz_line, fuzz_seeds, read_line},
    squeeze::expand,
    stripe::{Credit, Inbound, Outbound, Pool},
    wire::{self, Frame, Header, Kind, control_frame},
};

/// What arrives on an open stream: frames, put in order, counted against their credit, expanded.
///
/// # Panics
/// If a header that was read is not written the same, or an order is broken.
pub fn frames(mut bytes: &[u8]) {
    let mut end = End::default();
    (0..3).for_each(|_| end.outbound.push(wire::blank_frame(0), 0, false));
    while let Some((head, rest)) = bytes.split_first_chunk::<{ Header::LENGTH }>() {
        let Ok(header) = Header::decode(head) else { return };
        assert_eq!(header.encode(), *head, "a header is written as it was read");
        let Some((payload, rest)) = rest.split_at_checked(header.wire_len as usize) else { return };
        bytes = rest;
        if !end.take(Frame { header, payload: payload.to_vec() }) {
            return;
        }
    }
}

/// One end of a move, as far as a peer can change it.
#[derive(Default)]
struct End {
    inbound: Inbound,
    outbound: Outbound,
    pool: Pool,
    substreams: BTreeMap<u32, Credit>,
}

impl End {
    /// Takes a frame; `false` if the stream would be closed.
    fn take(&mut self, frame: Frame) -> bool {
        match frame.header.kind {
            Kind::Open | Kind::Data | Kind::Fin | Kind::Reset => self.sequenced(frame),
            Kind::Ack => self.outbound.acknowledge(frame.header.number),
            Kind::Credit | Kind::Ping | Kind::Pong => true,
            Kind::Close => {
                drop(serde_json::from_slice::<CloseReason>(&frame.payload));
                false
            }
        }
    }

    fn sequenced(&mut self, frame: Frame) -> bool {
        let mut expected = self.inbound.next();
        if self.inbound.accept(frame).is_err() {
            return false;
        }
        while let Some(frame) = self.inbound.pop() {
            assert_eq!(frame.header.number, expected, "frames come in order");
            expected += 1;
            if !self.in_order(&frame) {
                return false;
            }
        }
        true
    }

    fn in_order(&mut self, frame: &Frame) -> bool {
        let number = frame.header.substream;
        match frame.header.kind {
            Kind::Open => {
                let known = self.substreams.contains_key(&number) || self.substreams.len() > 64;
                if !known {
                    self.substreams.insert(number, Credit::open(&mut self.pool));
                }
                !known && std::str::from_utf8(&frame.payload).is_ok()
            }
            Kind::Data => {
                let raw_len = frame.header.raw_len as usize;
                let Some(credit) = self.substreams.get_mut(&number) else { return true };
                if !credit.receive(raw_len as u64) {
                    return false;
                }
                let raw = match frame.header.compressed {
                    true => expand(&frame.payload, raw_len),
                    false => Ok(frame.payload.clone()),
                };
                let Ok(raw) = raw else { return false };
                assert_eq!(raw.len(), raw_len, "a block has the length that was announced");
                if frame.header.number.is_multiple_of(2) {
                    credit.consume(raw_len as u64, &mut self.pool);
                }
                true
            }
            _ => {
                if let Some(credit) = self.substreams.remove(&number) {
                    credit.close(&mut self.pool);
                }
                true
            }
        }
    }
}

/// The first words of either end on a new stream.
pub fn greeting(bytes: &[u8]) {
    let mut rest = bytes;
    if let Some(Ok(hello)) = wire::read_message::<_, wire::Hello>(&mut rest).now_or_never() {
        let mut written = Vec::new();
        let done = wire::write_message(&mut written, &hello).now_or_never();
        if matches!(done, Some(Ok(()))) && written.len() < 4096 {
            let again = wire::read_message::<_, wire::Hello>(&mut &written[..]).now_or_never();
            let again = again.and_then(Result::ok).expect("a greeting is read as it was written");
            assert_eq!(format!("{again:?}"), format!("{hello:?}"));
        }
        drop(wire::read_confirmation(&mut rest).now_or_never());
    }
    drop(wire::read_message::<_, wire::Answer>(&mut &bytes[..]).now_or_never());
}

/// Lines on the control socket, as either end reads them.
pub fn control(bytes: &[u8]) {
    let mut reader = bytes;
    while let Some(Ok(Line::Text(line))) = read_line(&mut reader).now_or_never() {
        fuzz_line(&line);
    }
}

/// A stream of frames and the greetings before it, for seeds.
pub fn seeds() -> Seeds {
    let mut open = wire::blank_frame(0);
    open.extend_from_slice(b"memory");
    let mut packed = wire::blank_frame(0);
    let text = b"abcd".repeat(100);
    packed.extend(zstd::bulk::compress(&text, 1).expect("zstd starts"));
    let mut raw = wire::blank_frame(0);
    raw.extend_from_slice(b"raw bytes");
    let blocks = [
        wire::sequenced_frame(Kind::Open, 1, 0, false, open),
        wire::sequenced_frame(Kind::Data, 1, 9, false, raw),
        wire::sequenced_frame(Kind::Data, 1, text.len(), true, packed),
        wire::sequenced_frame(Kind::Fin, 1, 0, false, wire::blank_frame(0)),
    ];
    let mut frames = Vec::new();
    for (number, mut block) in (0..).zip(blocks) {
        wire::stamp(&mut block, number);
        frames.extend(block);
    }
    for kind in [Kind::Ack, Kind::Credit, Kind::Ping, Kind::Pong] {
        frames.extend(control_frame(kind, 1, 1 << 20, &[]));
    }
    frames.extend(control_frame(Kind::Close, 0, 0, b"\"requested\""));
    let hello = wire::Hello {
        version: wire::VERSION,
        move_id: "one".to_owned(),
        session: 7,
        lane: wire::LaneKey::Data(3),
        generation: 2,
        next: 1 << 40,
    };
    let answers = [
        wire::Answer::Welcome { session: 9, next: 0 },
        wire::Answer::Refused(wire::Refusal::Closed(CloseReason::PeerGone)),
    ];
    let mut greetings = vec![encoded(&hello)];
    greetings[0].push(1);
    greetings.extend(answers.iter().map(encoded));
    Seeds { frames, greetings, lines: fuzz_seeds() }
}

fn encoded(message: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::write_message(&mut bytes, message)
        .now_or_never()
        .expect("memory is ready")
        .expect("fits");
    bytes
}

/// Real bytes of each kind.
#[derive(Debug)]
pub struct Seeds {
    /// For [`frames()`].
    pub frames: Vec<u8>,
    /// For [`greeting`].
    pub greetings: Vec<Vec<u8>>,
    /// For [`control`].
    pub lines: Vec<Vec<u8>>,
}
