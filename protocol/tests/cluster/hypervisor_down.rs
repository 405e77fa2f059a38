//! A hypervisor that does not answer.

use crate::world::{Setup, World};
use lifeboat_protocol::{Input, output::NoticeKind};

#[test]
fn it_is_said_once_also_right_after_the_start() {
    let mut world = World::new(&Setup::new(1, 1));
    for _ in 0..3 {
        world.input(0, Input::HypervisorDown("no such socket".into()));
    }
    let said: Vec<_> = world.notices(NoticeKind::Failed);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].text.contains("no such socket"), "{said:?}");
}
