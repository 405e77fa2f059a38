//! Who is who: the nodes, sites and links that the cluster file lists.
//!
//! A directory never changes once it is made, and its copies share one memory: a simulated cluster
//! of thousands holds it once.

use alloc::{collections::BTreeMap, format, string::String, sync::Arc, vec::Vec};

use crate::{
    ids::{LinkId, NodeId, SiteId, link_name, mixed},
    units::BytesPerSec,
};

/// A listed node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeEntry {
    /// Its name.
    pub name: String,
    /// The site that it stands in.
    pub site: SiteId,
}

/// A link and what is configured of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkEntry {
    /// Its name, `a>b` or `a>b+c`.
    pub name: String,
    /// The sending site.
    pub from: SiteId,
    /// The receiving sites, whose nodes issue its tokens.
    pub to: Vec<SiteId>,
    /// Never believe in more than this, if set.
    pub ceiling: Option<BytesPerSec>,
    /// First guess of the capacity.
    pub initial: BytesPerSec,
    /// Thousandths of the capacity that stay free for gossip and production.
    pub reserve_permille: u16,
    /// Bytes that all streams that one move may have keep on their way over it; 0 if unknown.
    pub window: u64,
}

/// A link as the cluster file gives it.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// Name of the sending site.
    pub from: String,
    /// Names of the receiving sites.
    pub to: Vec<String>,
    /// See [`LinkEntry::ceiling`].
    pub ceiling: Option<BytesPerSec>,
    /// See [`LinkEntry::initial`].
    pub initial: BytesPerSec,
    /// See [`LinkEntry::reserve_permille`].
    pub reserve_permille: u16,
    /// See [`LinkEntry::window`].
    pub window: u64,
}

/// First guess of the capacity of a link of which nothing is configured: 100 Mbit/s.
pub const DEFAULT_INITIAL: BytesPerSec = BytesPerSec::from_bits(100_000_000);
/// Default reserve, in thousandths of the capacity.
pub const DEFAULT_RESERVE_PERMILLE: u16 = 50;
/// What a carrier's sixteen streams keep on their way, bytes: Linux grows a socket's window to 2 MiB, the
/// default of `tcp_wmem` less what the kernel keeps for itself.
pub const DEFAULT_WINDOW: u64 = 32 << 20;

/// All that the cluster file lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Directory(Arc<Listed>);

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Listed {
    nodes: BTreeMap<NodeId, NodeEntry>,
    sites: BTreeMap<SiteId, String>,
    links: BTreeMap<LinkId, LinkEntry>,
    /// The link from one site to another.
    between: BTreeMap<(SiteId, SiteId), LinkId>,
    /// The nodes at the receiving end of each link, by id.
    receivers: BTreeMap<LinkId, Vec<NodeId>>,
    /// The nodes of each site, by a hash that mixes them: the first ones are its stewards.
    ranked: BTreeMap<SiteId, Vec<NodeId>>,
}

impl Directory {
    /// Makes a directory of `(node name, site name)` pairs and the links that are configured.
    /// A pair of sites that no configured link joins gets a link with defaults.
    ///
    /// # Errors
    /// A sentence that names what is wrong: names twice, or a link with unknown or equal sites.
    pub fn new(nodes: &[(String, String)], links: &[LinkSpec]) -> Result<Self, String> {
        let mut listed = Listed::default();
        for (name, site) in nodes {
            let site_id = SiteId::of(site);
            let known = listed.sites.entry(site_id).or_insert_with(|| site.clone());
            if known != site {
                return Err(format!("the site names {known:?} and {site:?} collide: rename one"));
            }
            let entry = NodeEntry { name: name.clone(), site: site_id };
            let id = NodeId::of(name);
            if let Some(other) = listed.nodes.insert(id, entry) {
                return Err(format!("node {:?} is listed twice", other.name));
            }
            listed.ranked.entry(site_id).or_default().push(id);
        }
        for (site, ranked) in &mut listed.ranked {
            ranked.sort_by_key(|node| (core::cmp::Reverse(mixed(site.0, node.0)), *node));
        }
        for spec in links {
            listed.add_link(spec)?;
        }
        let sites: Vec<String> = listed.sites.values().cloned().collect();
        for from in &sites {
            for to in &sites {
                if from != to && !listed.between.contains_key(&(SiteId::of(from), SiteId::of(to))) {
                    listed.add_link(&LinkSpec {
                        from: from.clone(),
                        to: alloc::vec![to.clone()],
                        ceiling: None,
                        initial: DEFAULT_INITIAL,
                        reserve_permille: DEFAULT_RESERVE_PERMILLE,
                        window: DEFAULT_WINDOW,
                    })?;
                }
            }
        }
        Ok(Self(Arc::new(listed)))
    }
}

impl Listed {
    fn add_link(&mut self, spec: &LinkSpec) -> Result<(), String> {
        let mut to: Vec<&str> = spec.to.iter().map(String::as_str).collect();
        to.sort_unstable();
        let name = link_name(&spec.from, &to);
        for site in to.iter().copied().chain([spec.from.as_str()]) {
            if !self.sites.contains_key(&SiteId::of(site)) {
                return Err(format!(
                    "link {name} names the site {site:?}, in which no node stands"
                ));
            }
        }
        if to.is_empty() || to.contains(&spec.from.as_str()) {
            return Err(format!("link {name} must lead from one site to others"));
        }
        let from = SiteId::of(&spec.from);
        let joined = |site: &&&str| self.between.contains_key(&(from, SiteId::of(site)));
        if let Some(site) = to.iter().find(joined) {
            return Err(format!("two links lead from {:?} to {site:?}", spec.from));
        }
        let entry = LinkEntry {
            from,
            to: to.iter().map(|site| SiteId::of(site)).collect(),
            ceiling: spec.ceiling,
            initial: spec.initial,
            reserve_permille: spec.reserve_permille.min(900),
            window: spec.window,
            name,
        };
        let id = LinkId::of(&entry.name);
        for site in &entry.to {
            self.between.insert((from, *site), id);
        }
        let receives =
            |(node, one): (&NodeId, &NodeEntry)| entry.to.contains(&one.site).then_some(*node);
        self.receivers.insert(id, self.nodes.iter().filter_map(receives).collect());
        self.links.insert(id, entry);
        Ok(())
    }
}

impl Directory {
    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeEntry)> {
        self.0.nodes.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.0.nodes.len()
    }

    /// Whether no node is listed.
    pub fn is_empty(&self) -> bool {
        self.0.nodes.is_empty()
    }

    /// A node, if it is listed.
    pub fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.0.nodes.get(&id)
    }

    /// A node's name, or its id in hexadecimal if it is not listed.
    pub fn name(&self, id: NodeId) -> String {
        self.0.nodes.get(&id).map_or_else(|| format!("{:016x}", id.0), |entry| entry.name.clone())
    }

    /// All sites with their names.
    pub fn sites(&self) -> impl Iterator<Item = (SiteId, &str)> {
        self.0.sites.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// A site's name, or its id in hexadecimal if no node stands in it.
    pub fn site_name(&self, id: SiteId) -> String {
        self.0.sites.get(&id).cloned().unwrap_or_else(|| format!("{:016x}", id.0))
    }

    /// The site of a node.
    pub fn site_of(&self, id: NodeId) -> Option<SiteId> {
        self.0.nodes.get(&id).map(|entry| entry.site)
    }

    /// All links, by id.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &LinkEntry)> {
        self.0.links.iter().map(|(id, entry)| (*id, entry))
    }

    /// A link, if it is listed.
    pub fn link(&self, id: LinkId) -> Option<&LinkEntry> {
        self.0.links.get(&id)
    }

    /// The link from one site to another.
    pub fn link_between(&self, from: SiteId, to: SiteId) -> Option<LinkId> {
        self.0.between.get(&(from, to)).copied()
    }

    /// The nodes at the receiving end of a link, by id.
    pub fn receivers(&self, link: LinkId) -> &[NodeId] {
        self.0.receivers.get(&link).map_or(&[], Vec::as_slice)
    }

    /// Whether a node stands at the receiving end of a link.
    pub fn is_receiver(&self, link: LinkId, node: NodeId) -> bool {
        let site = self.site_of(node);
        let entry = self.0.links.get(&link);
        entry.zip(site).is_some_and(|(entry, site)| entry.to.contains(&site))
    }

    /// The first `most` nodes of a site by a hash that mixes them: the same everywhere.
    pub fn stewards(&self, site: SiteId, most: usize) -> &[NodeId] {
        let ranked = self.0.ranked.get(&site).map_or(&[][..], Vec::as_slice);
        &ranked[..ranked.len().min(most)]
    }
}
