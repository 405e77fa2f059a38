//! Evacuations by real processes, one behaviour per file.

mod abort;
mod bad_terms;
mod cancel;
mod carrier_killed;
mod daemon_restarted;
mod demo_killed;
mod destination_lost;
mod holder_killed;
mod hypervisor_late;
mod initiator_killed;
mod issuer_killed;
mod late_joiner;
mod no_room;
mod paused_and_shut_off;
mod port_taken;
mod refuses_to_start;
mod stopped;
mod strangers;
mod two_initiators;
mod undisturbed;
mod wan_cut;
