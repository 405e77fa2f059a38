//! Calls to libvirt: on the pool, within a deadline, with lifeboat's errors.

use std::time::Duration;

use virt::{
    connect::Connect,
    domain::Domain,
    error::{Error, ErrorNumber},
};

use super::{KIND, link::Link, pool::Pool};
use crate::{HypervisorError, VmId};

/// For what libvirt answers from its own memory.
pub(super) const QUICK: Duration = Duration::from_secs(5);
/// For what needs the guest's QEMU to act: destroying one that does not react takes 15 s alone.
pub(super) const SLOW: Duration = Duration::from_secs(30);

/// Why a call failed, before it is known what was asked of which VM.
pub(super) enum Failure {
    Libvirt(Error),
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

/// Asks libvirt for something.
pub(super) async fn call<T: Send + 'static>(
    link: &Link,
    pool: &Pool,
    what: &str,
    deadline: Duration,
    ask: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
) -> Result<T, HypervisorError> {
    let overdue = || HypervisorError::Timeout { what: what.into(), seconds: deadline.as_secs() };
    let connection = tokio::time::timeout(deadline, link.connection())
        .await
        .map_err(|_| overdue())?
        .map_err(unreachable)?;
    pool.run(deadline, move || {
        ask(&connection).map_err(|failure| (failure, connection.is_alive().unwrap_or(false)))
    })
    .await
    .map_err(|_| overdue())?
    .map_err(|(failure, alive)| match failure {
        Failure::Libvirt(error) if !alive => unreachable(error.message().to_owned()),
        Failure::Libvirt(error) => refused(what, error.message().to_owned()),
        Failure::Refused(reason) => refused(what, reason),
    })
}

/// Asks libvirt for something about one VM, which may be absent: then the answer is `None`.
pub(super) async fn call_about<T: Send + 'static>(
    link: &Link,
    pool: &Pool,
    vm: VmId,
    what: &str,
    deadline: Duration,
    ask: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
) -> Result<Option<T>, HypervisorError> {
    call(link, pool, what, deadline, move |connection| {
        let Some(domain) = find(connection, vm)? else { return Ok(None) };
        match ask(&domain) {
            Err(Failure::Libvirt(error)) if is_absent(&error) => Ok(None),
            answer => answer.map(Some),
        }
    })
    .await
}

/// The domain of this UUID, if the host has it.
pub(super) fn find(connection: &Connect, vm: VmId) -> Result<Option<Domain>, Error> {
    match connection.lookup_domain_by_uuid_string(&vm.to_string()) {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &Error) -> bool {
    error.code() == ErrorNumber::NoDomain.into()
}

/// Whether libvirt says that what was asked does not fit the domain's present state.
pub(super) fn is_wrong_state(error: &Error) -> bool {
    error.code() == ErrorNumber::OperationInvalid.into()
}

pub(super) fn refused(what: &str, reason: impl Into<String>) -> HypervisorError {
    HypervisorError::Refused { what: what.into(), reason: reason.into() }
}

fn unreachable(reason: String) -> HypervisorError {
    HypervisorError::Unreachable { kind: KIND, reason }
}
