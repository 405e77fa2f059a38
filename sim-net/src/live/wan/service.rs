//! All links and routes of a WAN, and the control socket's view of them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::{
    link::Link,
    protocol::{LinkConfig, Request, RouteConfig, Shape, Stats},
    route::Route,
};
use crate::live::{
    clock::monotonic_ns,
    control::{Refusal, Service},
    locked,
};

/// The links of a WAN and what is relayed over them.
pub(crate) struct Wan {
    links: Vec<Arc<Link>>,
    routes: Mutex<Vec<Arc<Route>>>,
    seed: u64,
}

impl Wan {
    /// A WAN without routes.
    ///
    /// # Errors
    /// If a link makes no sense.
    pub(crate) fn new(links: Vec<LinkConfig>, seed: u64) -> Result<Self, Refusal> {
        let links = links.into_iter().map(|link| Link::new(link).map(Arc::new));
        let links = links.collect::<Result<_, _>>()?;
        Ok(Self { links, routes: Mutex::new(Vec::new()), seed })
    }

    /// Starts to relay one more address; answers where it listens.
    ///
    /// # Errors
    /// If a link is missing, the name is taken or the address cannot be bound.
    pub(crate) fn add_route(&self, route: RouteConfig) -> Result<SocketAddr, Refusal> {
        let forward = self.link(&route.from_site, &route.to_site)?;
        let backward = self.link(&route.to_site, &route.from_site)?;
        let mut routes = locked(&self.routes);
        let (name, listen) = (route.name.clone(), route.listen);
        if routes.iter().any(|other| other.name() == name) {
            return Err(Refusal::refused(format!("another route is called {name:?}")));
        }
        let seed = self.seed.wrapping_add(routes.len() as u64);
        let route = Route::start(route, forward, backward, seed).map_err(|reason| {
            Refusal::refused(format!("route {name:?} cannot listen on {listen}: {reason}"))
        })?;
        let listen = route.listen();
        routes.push(route);
        Ok(listen)
    }

    fn link(&self, from: &str, to: &str) -> Result<Arc<Link>, Refusal> {
        let found = self.links.iter().find(|link| link.connects(Some(from), Some(to)));
        found
            .cloned()
            .ok_or_else(|| Refusal::not_found(format!("no link goes from {from} to {to}")))
    }

    fn selected(&self, from: Option<&str>, to: Option<&str>) -> Result<Vec<&Link>, Refusal> {
        let links: Vec<&Link> =
            self.links.iter().filter(|link| link.connects(from, to)).map(|link| &**link).collect();
        if links.is_empty() {
            let any = "any site";
            let (from, to) = (from.unwrap_or(any), to.unwrap_or(any));
            return Err(Refusal::not_found(format!("no link goes from {from} to {to}")));
        }
        Ok(links)
    }

    /// The links that a cut between two sites concerns.
    fn between(
        &self,
        from: Option<&str>,
        to: Option<&str>,
        one_way: bool,
    ) -> Result<Vec<&Link>, Refusal> {
        let mut links = self.selected(from, to)?;
        if !one_way {
            links.extend(self.selected(to, from)?);
        }
        Ok(links)
    }

    fn stats(&self) -> Stats {
        Stats {
            monotonic_ns: monotonic_ns(),
            links: self.links.iter().map(|link| link.stats()).collect(),
            routes: locked(&self.routes).iter().map(|route| route.stats()).collect(),
        }
    }
}

impl Service for Wan {
    type Request = Request;

    async fn answer(&self, request: Request) -> Result<Value, Refusal> {
        match request {
            Request::Set { from, to, capacity_bits, rtt_ms, window_bytes, loss } => {
                for link in self.selected(from.as_deref(), to.as_deref())? {
                    let now = link.shape();
                    link.set_shape(Shape {
                        capacity_bits: capacity_bits.unwrap_or(now.capacity_bits),
                        rtt_ms: rtt_ms.unwrap_or(now.rtt_ms),
                        window_bytes: window_bytes.unwrap_or(now.window_bytes),
                        loss: loss.unwrap_or(now.loss),
                    })?;
                }
            }
            Request::Cut { from, to, one_way } => {
                for link in self.between(from.as_deref(), to.as_deref(), one_way)? {
                    link.cut();
                }
            }
            Request::Heal { from, to, one_way } => {
                for link in self.between(from.as_deref(), to.as_deref(), one_way)? {
                    link.heal();
                }
            }
            Request::AddRoute { route } => return Ok(json!(self.add_route(route)?)),
            Request::Stats => return Ok(json!(self.stats())),
        }
        Ok(Value::Null)
    }
}
