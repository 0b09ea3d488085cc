//! The rules, checked against each other: what nobody may read or write, and no circles.

use std::collections::BTreeMap;

use darkroom_api::Descriptor;
use serde_json::{Map, Value};

use super::rules::{taken, taken_by};
use super::{RouteConfig, RouteRules};
use crate::store::{HttpsConfig, Place, StoreConfig, check_bucket};

/// The checked rules.
#[derive(Debug, Clone)]
pub struct Routes {
    stores: Vec<StoreConfig>,
    pub(super) handlers: BTreeMap<String, Descriptor>,
    pub(super) routes: Vec<Route>,
    pub(super) sources: Vec<Place>,
    pub(super) destinations: Vec<Place>,
    pub(super) https: HttpsConfig,
}

#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) listens: Place,
    pub(super) suffixes: Vec<String>,
    pub(super) handler: String,
    pub(super) role: String,
    pub(super) params: Map<String, Value>,
    pub(super) output: Place,
    pub(super) deadline_secs: Option<u64>,
}

impl Route {
    pub(super) fn takes(&self, bucket: &str, key: &str) -> bool {
        let lower = key.to_lowercase();
        self.listens.holds(bucket, key)
            && (self.suffixes.is_empty() || self.suffixes.iter().any(|suffix| lower.ends_with(suffix)))
    }
}

impl Routes {
    /// Checks the rules against each other, the stores and the handlers. `state` is where records go.
    ///
    /// Nothing may be written where a route listens: neither a route's output nor the state may overlap a route's
    /// bucket and prefix in either direction, and no destination may lie inside one.
    ///
    /// # Errors
    /// A sentence for every problem.
    pub fn new(
        rules: &RouteRules,
        stores: &[StoreConfig],
        handlers: &[Descriptor],
        state: &Place,
    ) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut routes = Routes {
            stores: stores.to_vec(),
            handlers: handlers.iter().map(|d| (d.name.clone(), d.clone())).collect(),
            routes: Vec::new(),
            sources: Vec::new(),
            destinations: Vec::new(),
            https: rules.https.clone(),
        };
        for source in &rules.sources {
            match routes.place(source.store.as_deref(), &source.bucket, &source.prefix) {
                Ok(place) => routes.sources.push(place),
                Err(error) => errors.push(format!("[[sources]]: {error}")),
            }
        }
        for rule in &rules.destinations {
            match routes.place(rule.store.as_deref(), &rule.bucket, &rule.prefix) {
                Ok(place) => routes.destinations.push(place),
                Err(error) => errors.push(format!("[[destinations]]: {error}")),
            }
        }
        for (index, rule) in rules.routes.iter().enumerate() {
            match routes.route_from(rule) {
                Ok(route) => routes.routes.push(route),
                Err(problems) => errors.extend(problems.into_iter().map(|p| format!("[[routes]] {}: {p}", index + 1))),
            }
        }
        errors.extend(routes.loops(state));
        if errors.is_empty() { Ok(routes) } else { Err(errors) }
    }

    /// What uploads the routes take, for people.
    pub fn taken(&self) -> String {
        let routes = self.routes.iter();
        taken_by(routes.map(|route| taken(&route.listens.bucket, &route.listens.prefix, &route.suffixes)))
    }

    /// Whether an upload there becomes a job.
    pub fn takes(&self, store: &str, bucket: &str, key: &str) -> bool {
        // Notifications do not name their store: the first route of this bucket would take it, whichever store it means.
        let first = self.routes.iter().find(|route| route.takes(bucket, key));
        first.is_some_and(|route| self.same_store(&route.listens.store, store))
    }

    /// Where routes listen, each object in one place only; of these, what lies in this bucket and under this prefix.
    pub fn listened(&self, bucket: Option<&str>, prefix: &str) -> Vec<Place> {
        self.narrowed(self.routes.iter().map(|route| &route.listens), bucket, prefix)
    }

    /// Where results may lie, in the same way.
    pub fn written(&self, bucket: Option<&str>, prefix: &str) -> Vec<Place> {
        self.narrowed(self.destinations.iter(), bucket, prefix)
    }

    fn narrowed<'a>(&self, all: impl Iterator<Item = &'a Place>, bucket: Option<&str>, prefix: &str) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for whole in all.filter(|place| bucket.is_none_or(|bucket| bucket == place.bucket)) {
            let place = if whole.prefix.starts_with(prefix) {
                whole.clone()
            } else if prefix.starts_with(&whole.prefix) {
                Place { prefix: prefix.into(), ..whole.clone() }
            } else {
                continue;
            };
            if !places.iter().any(|other| self.within(&place, other)) {
                places.retain(|other| !self.within(other, &place));
                places.push(place);
            }
        }
        places
    }

    fn store_name(&self, name: Option<&str>) -> Result<String, String> {
        match name {
            None => self.stores.first().map(|s| s.name.clone()).ok_or("no [[stores]] are configured: add one".into()),
            Some(name) if self.stores.iter().any(|s| s.name == name) => Ok(name.to_owned()),
            Some(name) => Err(format!("no store is called `{name}`: add it to [[stores]]")),
        }
    }

    fn place(&self, store: Option<&str>, bucket: &str, prefix: &str) -> Result<Place, String> {
        check_bucket(bucket)?;
        Ok(Place { store: self.store_name(store)?, bucket: bucket.into(), prefix: prefix.into() })
    }

    fn route_from(&self, rule: &RouteConfig) -> Result<Route, Vec<String>> {
        let mut problems = Vec::new();
        let mut keep = |problem: String| problems.push(problem);
        let listens = self.place(rule.store.as_deref(), &rule.bucket, &rule.prefix).map_err(&mut keep).ok();
        let output = self
            .store_name(rule.output_store.as_deref())
            .and_then(|store| Place::for_writing(&store, &rule.output).map_err(|e| e.message))
            .map_err(&mut keep)
            .ok();
        let role = self.lone_role(&rule.handler).map_err(&mut keep).ok();
        if let Some(place) = listens.as_ref().filter(|place| !self.is_source(place)) {
            keep(format!("it listens on {place}, which no [[sources]] rule allows: add one"));
        }
        if let Some(place) = output.as_ref().filter(|place| !self.is_destination(place)) {
            keep(format!("it writes to {place}, which no [[destinations]] rule allows: add one"));
        }
        match (listens, output, role) {
            (Some(listens), Some(output), Some(role)) if problems.is_empty() => Ok(Route {
                listens,
                suffixes: rule.suffixes.iter().map(|s| s.to_lowercase()).collect(),
                handler: rule.handler.clone(),
                role,
                params: rule.params.clone(),
                output,
                deadline_secs: rule.deadline_secs,
            }),
            _ => Err(problems),
        }
    }

    /// The primary role of a handler that can work on one upload alone.
    fn lone_role(&self, handler: &str) -> Result<String, String> {
        let descriptor = self.handlers.get(handler).ok_or_else(|| self.unknown(handler))?;
        let needed: u32 = descriptor.inputs.iter().map(|role| role.min).sum();
        match descriptor.inputs.first() {
            Some(role) if needed <= 1 && (needed == role.min) => Ok(role.name.clone()),
            _ => Err(format!("`{handler}` needs {needed} inputs, a route gives one: send job messages instead")),
        }
    }

    pub(super) fn unknown(&self, handler: &str) -> String {
        let known: Vec<_> = self.handlers.keys().map(String::as_str).collect();
        let shown = crate::store::shorten(handler);
        format!("no handler is called `{shown}`: this worker has {}", known.join(", "))
    }

    /// Whether both stores are the same service.
    fn same_store(&self, one: &str, other: &str) -> bool {
        let find = |name: &str| self.stores.iter().find(|s| s.name == name);
        one == other || matches!((find(one), find(other)), (Some(a), Some(b)) if a.same_service(b))
    }

    fn within(&self, inner: &Place, outer: &Place) -> bool {
        self.same_store(&inner.store, &outer.store) && outer.holds(&inner.bucket, &inner.prefix)
    }

    fn is_source(&self, place: &Place) -> bool {
        self.sources.iter().any(|rule| rule.store == place.store && rule.holds(&place.bucket, &place.prefix))
    }

    fn is_destination(&self, place: &Place) -> bool {
        self.destinations.iter().any(|rule| rule.store == place.store && rule.holds(&place.bucket, &place.prefix))
    }

    /// The route that would hear what is written to this place.
    pub(super) fn heard(&self, place: &Place) -> Option<&Place> {
        self.routes.iter().map(|r| &r.listens).find(|l| self.within(place, l) || self.within(l, place))
    }

    fn loops(&self, state: &Place) -> Vec<String> {
        let mut errors = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            if let Some(listens) = self.heard(&route.output) {
                let output = &route.output;
                errors.push(format!(
                    "[[routes]] {}: it writes to {output}, and a route listens on {listens}: results would start jobs \
                     for ever; write to another bucket or prefix",
                    index + 1
                ));
            }
        }
        if let Some(listens) = self.heard(state) {
            errors.push(format!("The state is kept at {state}, and a route listens on {listens}: keep it elsewhere"));
        }
        for rule in &self.destinations {
            if let Some(route) = self.routes.iter().find(|route| self.within(rule, &route.listens)) {
                let listens = &route.listens;
                errors.push(format!("[[destinations]]: {rule} lies where a route listens ({listens}): remove it"));
            }
        }
        errors
    }
}
