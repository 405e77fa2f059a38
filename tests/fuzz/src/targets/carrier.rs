//! What a carrier reads: from its peer, and on its control socket.

use lifeboat_carrier::fuzz;

use super::Target;

/// Frames on a stream.
pub(super) const FRAMES: Target = Target {
    name: "carrier_frames",
    run: fuzz::frames,
    seeds: || vec![fuzz::seeds().frames],
    longest: 4096,
    share_permille: 140,
};
/// The first words on a stream.
pub(super) const GREETING: Target = Target {
    name: "carrier_greeting",
    run: fuzz::greeting,
    seeds: || fuzz::seeds().greetings,
    longest: 1024,
    share_permille: 100,
};
/// The daemon's orders, and the carrier's answers.
pub(super) const CONTROL: Target = Target {
    name: "carrier_control",
    run: fuzz::control,
    seeds: || fuzz::seeds().lines,
    longest: 2048,
    share_permille: 30,
};
