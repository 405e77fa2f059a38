//! Autostart of VMs that move: off at the source before a migration begins, so that a host that
//! boots again does not start a second copy; and on again wherever the VM runs in the end.
//!
//! That it was on is marked in the domain's own metadata. So the mark travels with the VM, and is
//! found again after a restart of the daemon. It is honoured where the VM runs and no migration of
//! it is under way; a VM that arrives paused or shut off keeps the mark until it runs.
//!
//! A VM that ended while it moved is shut off at its source, and cannot be told there from one whose copy
//! runs elsewhere, or may: its autostart goes on only on the word that its attempt is decided to have left
//! it there.

use std::sync::Arc;

use virt::{domain::Domain, error::Error, sys};

use super::{
    Inner,
    calls::{Failure, SLOW},
    copy_here, job_side,
    list::refuse_if_it_hangs,
    raw,
};
use crate::{Copy, HypervisorError, VmId};

const NAMESPACE: &str = "urn:lifeboat:autostart:1";
const PREFIX: &str = "lifeboat-autostart";
const ELEMENT: &str = "<on/>";

/// Switches it off before the VM leaves.
pub(super) fn take(domain: &Domain) -> Result<(), Error> {
    if domain.autostart()? {
        mark(domain, Some(ELEMENT))?;
        domain.set_autostart(false)?;
    }
    Ok(())
}

/// Switches it on again if it was on, unless the VM is leaving or does not run.
pub(super) async fn give_back(inner: Arc<Inner>, vm: VmId) {
    let runs_on = |domain: &Domain| {
        let (state, _) = raw::state(domain)?;
        Ok(state == sys::VIR_DOMAIN_RUNNING && job_side(domain)?.is_none())
    };
    if let Err(error) = give_back_if(&inner, vm, runs_on).await {
        tracing::warn!(%vm, %error, "it is tried again; until then it does not start with its host");
    }
}

/// The same of a VM that is shut off, once it is decided that its move has left it here.
pub(super) async fn give_back_shut_off(inner: &Inner, vm: VmId) -> Result<(), HypervisorError> {
    let part = inner.moves.part(vm);
    give_back_if(inner, vm, move |domain| Ok(copy_here(domain, part)? == Copy::ShutOff)).await
}

async fn give_back_if(
    inner: &Inner,
    vm: VmId,
    stays: impl FnOnce(&Domain) -> Result<bool, Failure> + Send + 'static,
) -> Result<(), HypervisorError> {
    let give_back = |domain: &Domain| {
        refuse_if_it_hangs(domain)?;
        let marked = is_marked(&domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?);
        if marked && stays(domain)? {
            domain.set_autostart(true)?;
            mark(domain, None)?;
        }
        Ok(())
    };
    let given = inner.call_about(vm, "switch a VM's autostart on again", SLOW, give_back);
    given.await.map(drop)
}

fn mark(domain: &Domain, element: Option<&str>) -> Result<(), Error> {
    let flags = sys::VIR_DOMAIN_AFFECT_CONFIG
        | if domain.is_active()? { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).expect("a small number");
    domain.set_metadata(kind, element, Some(PREFIX), Some(NAMESPACE), flags)
}

/// Whether a domain's XML bears the mark.
pub(super) fn is_marked(xml: &str) -> bool {
    xml.contains(NAMESPACE)
}

/// The definition of a VM that is to start with its host, for another host.
pub(super) fn marked(xml: &str) -> String {
    let element = format!("<{PREFIX}:on xmlns:{PREFIX}=\"{NAMESPACE}\"/>");
    if is_marked(xml) {
        xml.to_owned()
    } else if xml.contains("<metadata>") {
        xml.replacen("<metadata>", &format!("<metadata>{element}"), 1)
    } else {
        xml.replacen("</name>", &format!("</name><metadata>{element}</metadata>"), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::domain_xml;

    #[test]
    fn a_definition_is_marked_once() {
        let policy = "<l:policy xmlns:l='urn:lifeboat:domain:1' priority='7'/>";
        for inside in [String::new(), format!("<metadata>{policy}</metadata>")] {
            let xml = format!("<domain><name>web</name>{inside}</domain>");
            assert!(!is_marked(&xml));
            let once = marked(&xml);
            assert!(is_marked(&once), "{once}");
            assert_eq!(marked(&once), once);
            let policy = domain_xml::describe(&once).unwrap().policy;
            assert_eq!(policy, domain_xml::describe(&xml).unwrap().policy, "the rest is as it was");
        }
    }
}
