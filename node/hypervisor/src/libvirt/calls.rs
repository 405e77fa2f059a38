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
    let answer =
        pool.run(deadline, move || asked(&connection, ask)).await.map_err(|_| overdue())?;
    answer.map_err(|failure| told(what, failure))
}

/// As [`call_about`], over a connection of its own.
///
/// For what needs the VM's QEMU to answer. libvirtd takes only a few requests of one client at a
/// time, and does not even answer its keepalive meanwhile: a few that hang would take everything
/// else with them that goes over the same connection.
pub(super) async fn call_apart<T: Send + 'static>(
    link: &Link,
    pool: &Pool,
    vm: VmId,
    what: &str,
    deadline: Duration,
    ask: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
) -> Result<Option<T>, HypervisorError> {
    let overdue = || HypervisorError::Timeout { what: what.into(), seconds: deadline.as_secs() };
    // Where it is known to be away, nobody waits for another one.
    let up = tokio::time::timeout(deadline, link.connection()).await.map_err(|_| overdue())?;
    up.map_err(unreachable)?;
    let uri = link.uri().to_owned();
    let answer = pool.run(deadline, move || {
        let connection = super::link::open(&uri).map_err(|error| (error.into(), false))?;
        asked(&connection, |connection| about(connection, vm, ask))
    });
    answer.await.map_err(|_| overdue())?.map_err(|failure| told(what, failure))
}

/// The answer, or the failure and whether the connection is still alive.
fn asked<T>(
    connection: &Connect,
    ask: impl FnOnce(&Connect) -> Result<T, Failure>,
) -> Result<T, (Failure, bool)> {
    ask(connection).map_err(|failure| (failure, connection.is_alive().unwrap_or(false)))
}

fn told(what: &str, (failure, alive): (Failure, bool)) -> HypervisorError {
    match failure {
        Failure::Libvirt(error) if !alive => unreachable(error.message().to_owned()),
        Failure::Libvirt(error) => refused(what, error.message().to_owned()),
        Failure::Refused(reason) => refused(what, reason),
    }
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
    call(link, pool, what, deadline, move |connection| about(connection, vm, ask)).await
}

fn about<T>(
    connection: &Connect,
    vm: VmId,
    ask: impl FnOnce(&Domain) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let Some(domain) = find(connection, vm)? else { return Ok(None) };
    match ask(&domain) {
        Err(Failure::Libvirt(error)) if is_absent(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

/// The domain of this UUID, if the host has it.
pub(super) fn find(connection: &Connect, vm: VmId) -> Result<Option<Domain>, Error> {
    match connection.lookup_domain_by_uuid_string(&vm.to_string()) {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_absent(error: &Error) -> bool {
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
