//! The control socket of a host: requests in, what the table says out.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    guest::Guest,
    host::{Host, to_json},
    incoming, outgoing,
    protocol::{Inspection, Request},
};
use crate::live::{
    control::{Events, Refusal, Service},
    locked,
};

/// Answers for one host.
pub(crate) struct HypervisorService {
    host: Arc<Host>,
    hangs_until: Mutex<Instant>,
}

impl HypervisorService {
    /// Answers for `host`.
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, hangs_until: Mutex::new(Instant::now()) }
    }
}

impl Service for HypervisorService {
    type Request = Request;

    fn answer(&self, request: Request) -> impl Future<Output = Result<Value, Refusal>> + Send {
        if let Request::Hang { milliseconds } = request {
            *locked(&self.hangs_until) = Instant::now() + Duration::from_millis(milliseconds);
        }
        let host = Arc::clone(&self.host);
        let runtime = tokio::runtime::Handle::current();
        async move {
            // Filling, hashing and checking memory take long; connecting may.
            let work = move || {
                let _entered = runtime.enter();
                answer(&host, request)
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(answer) => answer,
                Err(reason) => Err(Refusal::refused(format!("the request failed: {reason}"))),
            }
        }
    }

    fn events(&self) -> Option<&Events> {
        Some(self.host.events())
    }

    async fn awake(&self) {
        let until = *locked(&self.hangs_until);
        tokio::time::sleep_until(until).await;
    }
}

fn answer(host: &Arc<Host>, request: Request) -> Result<Value, Refusal> {
    match request {
        Request::Capacity => Ok(to_json(&host.capacity())),
        Request::List => Ok(to_json(&host.list())),
        Request::Look { vm } => Ok(to_json(&host.look(&vm))),
        Request::Create { definition, paused } => done(host.create(definition, paused)),
        Request::Define { definition } => done(host.define(definition)),
        Request::Definition { vm } => host.definition(&vm).map(|found| to_json(&found)),
        Request::Destroy { vm } => {
            host.destroy(&vm);
            Ok(Value::Null)
        }
        Request::Forget { vm } => done(host.forget(&vm)),
        Request::Pause { vm } => done(host.pause(&vm)),
        Request::Resume { vm } => done(host.resume(&vm)),
        Request::ExpectArrival { vm, path } => done(incoming::expect(host, vm, &path)),
        Request::CancelArrival { vm } => done(host.cancel_arrival(&vm)),
        Request::Migrate { vm, path, max_downtime_ms, auto_converge } => {
            done(outgoing::start(host, &vm, &path, max_downtime_ms, auto_converge))
        }
        Request::PostCopy { vm: _ } => {
            Err(Refusal::refused("the embedded hypervisor has no post-copy"))
        }
        Request::Progress { vm } => {
            let job = host.outgoing(&vm).ok().flatten();
            Ok(to_json(&job.map(|job| job.progress())))
        }
        Request::SetMaxDowntime { vm, milliseconds } => {
            job(host, &vm)?.set_max_downtime(milliseconds);
            Ok(Value::Null)
        }
        Request::Abort { vm } => {
            job(host, &vm)?.abort("it was aborted on request");
            Ok(Value::Null)
        }
        Request::SetDirtyRate { vm, bytes_per_second } => {
            host.guest(&vm)?.execution().dirty_rate = bytes_per_second;
            Ok(Value::Null)
        }
        Request::Inspect { vm, digest, verify } => {
            Ok(to_json(&inspect(&*host.guest(&vm)?, digest, verify)))
        }
        Request::RefuseMigrations { next } => {
            host.refuse_migrations(next);
            Ok(Value::Null)
        }
        // Took effect when the request came.
        Request::Hang { .. } => Ok(Value::Null),
    }
}

fn done(result: Result<(), Refusal>) -> Result<Value, Refusal> {
    result.map(|()| Value::Null)
}

fn job(host: &Host, vm: &super::Uuid) -> Result<Arc<outgoing::Outgoing>, Refusal> {
    host.outgoing(vm)?
        .ok_or_else(|| Refusal::refused(format!("no migration of VM {vm} is under way")))
}

fn inspect(guest: &Guest, digest: bool, verify: bool) -> Inspection {
    let wrong_pages = verify.then(|| guest.wrong_pages());
    let execution = guest.execution();
    Inspection {
        boot_id: execution.life.boot_id.clone(),
        ticks: execution.life.ticks,
        writes: execution.life.writes,
        last_downtime_ms: execution.last_downtime_ms,
        digest: digest.then(|| format!("{:032x}", guest.memory.digest())),
        wrong_pages,
    }
}
