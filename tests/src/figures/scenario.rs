//! One scenario and several sites that went through it: a table for people, JSON for programs, rows for a chart. Each site
//! is compared with the library inside a server and with the best proxy, by one column of figures.

use std::fmt::Write as _;

use super::chart::Bars;
use super::table::quoted;

/// What a site is, as far as comparing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is judged.
    Ours,
    /// The same with everything in one process, keys too: what the parts cost.
    OneProcess,
    /// The TLS library inside the server.
    Library,
    /// A server that does TLS itself.
    Itself,
    /// A proxy in front of a plain server.
    Proxy,
}

/// What a site came to.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteRow {
    /// Its name.
    pub site: String,
    /// What it is.
    pub part: Part,
    /// One for each column, or why there are none.
    pub figures: Result<Vec<f64>, String>,
}

/// A scenario that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// As it is asked for.
    pub name: &'static str,
    /// One line: what is done.
    pub what: &'static str,
    /// What the figures are, units included.
    pub columns: &'static [&'static str],
    /// The column that sites are compared by; less is better.
    pub judged: usize,
    /// The sites.
    pub rows: Vec<SiteRow>,
}

impl Scenario {
    /// The figure that counts, of the first site that is this.
    pub fn of(&self, part: Part) -> Option<f64> {
        self.rows.iter().find(|row| row.part == part).and_then(|row| self.figure(row))
    }

    /// The figure that counts, of the proxy with the least.
    pub fn best_proxy(&self) -> Option<f64> {
        let proxies = self.rows.iter().filter(|row| row.part == Part::Proxy);
        proxies.filter_map(|row| self.figure(row)).min_by(f64::total_cmp)
    }

    fn figure(&self, row: &SiteRow) -> Option<f64> {
        row.figures.as_ref().ok()?.get(self.judged).copied()
    }

    /// How many times the library's figure, and the best proxy's, a site has.
    fn ratios(&self, row: &SiteRow) -> [Option<f64>; 2] {
        // Nothing is so many times nothing.
        let ratio = |than: Option<f64>| Some(self.figure(row)? / than?).filter(|ratio| ratio.is_finite());
        [self.of(Part::Library), self.best_proxy()].map(ratio)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}\n{:<14}", self.name, self.what, "");
        for column in self.columns {
            let _ = write!(text, " {column:>12}");
        }
        let _ = writeln!(text, " {:>9} {:>12}", "× library", "× best proxy");
        for row in &self.rows {
            let _ = write!(text, "{:<14}", row.site);
            match &row.figures {
                Err(why) => {
                    let _ = writeln!(text, "   - {why}");
                }
                Ok(figures) => {
                    for figure in figures {
                        let _ = write!(text, " {:>12}", digits(*figure));
                    }
                    let [library, proxy] = self.ratios(row).map(|ratio| match ratio {
                        Some(ratio) => format!("{ratio:.2}"),
                        None => "-".to_owned(),
                    });
                    let _ = writeln!(text, " {library:>9} {proxy:>12}");
                }
            }
        }
        text
    }

    /// For programs: `{"name", "what", "judged", "sites": [{"site", "figures": {…}, "to_library", "to_best_proxy"} or
    /// {"site", "why"}]}`.
    pub fn json(&self) -> String {
        let site = |row: &SiteRow| {
            let mut site = format!("{{\"site\": {}", quoted(&row.site));
            match &row.figures {
                Err(why) => {
                    let _ = write!(site, ", \"why\": {}", quoted(why));
                }
                Ok(figures) => {
                    let named = self.columns.iter().zip(figures);
                    let named: Vec<String> =
                        named.map(|(name, figure)| format!("{}: {figure:.3}", quoted(name))).collect();
                    let _ = write!(site, ", \"figures\": {{{}}}", named.join(", "));
                    for (name, ratio) in ["to_library", "to_best_proxy"].iter().zip(self.ratios(row)) {
                        if let Some(ratio) = ratio {
                            let _ = write!(site, ", \"{name}\": {ratio:.4}");
                        }
                    }
                }
            }
            site + "}"
        };
        let sites: Vec<String> = self.rows.iter().map(site).collect();
        format!(
            "{{\"name\": {}, \"what\": {}, \"judged\": {},\n     \"sites\": [\n      {}\n     ]}}",
            quoted(self.name),
            quoted(self.what),
            quoted(self.columns[self.judged]),
            sites.join(",\n      ")
        )
    }

    /// For a chart: one bar for each site.
    pub fn bars(&self) -> Bars {
        let rows = self.rows.iter().map(|row| {
            let figure = row.figures.clone().map(|figures| vec![figures[self.judged]]);
            (row.site.clone(), figure)
        });
        Bars {
            title: self.name.to_owned(),
            legend: format!("{}: {}", self.columns[self.judged], self.what),
            rows: rows.collect(),
        }
    }
}

/// What a figure of ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Than {
    /// The library's in the same scenario.
    Library,
    /// The best proxy's in the same scenario.
    BestProxy,
    /// Ours in one process, in the same scenario.
    OneProcess,
    /// Ours in another scenario.
    Scenario(&'static str),
    /// One of these.
    Unit(&'static str),
}

/// What is to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// The scenario that is judged.
    pub scenario: &'static str,
    /// What it is compared with.
    pub than: Than,
    /// It is at most so many times that.
    pub at_most: f64,
}

impl Claim {
    /// How many times it is, if both were measured.
    pub fn is(&self, scenarios: &[Scenario]) -> Option<f64> {
        let find = |name: &str| scenarios.iter().find(|scenario| scenario.name == name);
        let scenario = find(self.scenario)?;
        let than = match self.than {
            Than::Library => scenario.of(Part::Library)?,
            Than::BestProxy => scenario.best_proxy()?,
            Than::OneProcess => scenario.of(Part::OneProcess)?,
            Than::Scenario(name) => find(name)?.of(Part::Ours)?,
            Than::Unit(_) => 1.0,
        };
        Some(scenario.of(Part::Ours)? / than).filter(|is| is.is_finite())
    }

    fn than(&self) -> String {
        match self.than {
            Than::Library => "× the library".to_owned(),
            Than::BestProxy => "× the best proxy".to_owned(),
            Than::OneProcess => "× one process".to_owned(),
            Than::Scenario(name) => format!("× {name}"),
            Than::Unit(unit) => unit.to_owned(),
        }
    }

    /// One line: pass, fail or not measured.
    pub fn text(&self, scenarios: &[Scenario]) -> String {
        let claim = format!("{:<28} at most {:>5.2} {:<28}", self.scenario, self.at_most, self.than());
        match self.is(scenarios) {
            Some(is) => format!("{claim} {is:>7.3} {}", if is <= self.at_most { "pass" } else { "fail" }),
            None => format!("{claim}       - not measured"),
        }
    }

    /// `{"scenario", "than", "at_most", "is"}`, the last only where it was measured.
    pub fn json(&self, scenarios: &[Scenario]) -> String {
        let is = self.is(scenarios).map(|is| format!(", \"is\": {is:.4}")).unwrap_or_default();
        format!(
            "{{\"scenario\": {}, \"than\": {}, \"at_most\": {:.2}{is}}}",
            quoted(self.scenario),
            quoted(self.than().trim_start_matches("× ")),
            self.at_most
        )
    }
}

/// Three digits and more, and never more than two behind the point.
fn digits(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario() -> Scenario {
        let row = |site: &str, part, cpu: f64| SiteRow {
            site: site.to_owned(),
            part,
            figures: Ok(vec![1000.0, cpu]),
        };
        let mut rows = vec![row("ours", Part::Ours, 120.0), row("library", Part::Library, 100.0)];
        rows.extend([row("server", Part::Itself, 150.0), row("slow", Part::Proxy, 400.0)]);
        rows.push(row("fast", Part::Proxy, 300.0));
        rows.push(SiteRow {
            site: "gone".to_owned(),
            part: Part::Proxy,
            figures: Err("not \"here\"".to_owned()),
        });
        Scenario { name: "one", what: "a thing", columns: &["per s", "CPU µs"], judged: 1, rows }
    }

    #[test]
    fn a_server_that_is_no_proxy_is_not_what_proxies_are_measured_by() {
        let text = scenario().text();
        let lines: Vec<Vec<&str>> =
            text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["ours", "1000", "120", "1.20", "0.40"], "{text}");
        assert_eq!(lines[3], ["slow", "1000", "400", "4.00", "1.33"], "{text}");
        assert_eq!(lines[5], ["gone", "-", "not", "\"here\""], "{text}");
    }

    #[test]
    fn a_claim_about_what_was_not_measured_does_not_pass() {
        let claim = |than, at_most| Claim { scenario: "one", than, at_most };
        let [one] = [scenario()];
        let judge = |claim: Claim| claim.text(std::slice::from_ref(&one));
        assert!(judge(claim(Than::Library, 1.2)).ends_with("1.200 pass"));
        assert!(judge(claim(Than::BestProxy, 0.39)).ends_with("0.400 fail"));
        assert!(judge(claim(Than::Unit("µs"), 4.0)).ends_with("120.000 fail"));
        assert!(judge(claim(Than::Scenario("two"), 1.1)).ends_with("not measured"));
        assert!(judge(Claim { scenario: "two", ..claim(Than::Library, 1.2) }).ends_with("not measured"));
        let json = claim(Than::Library, 1.2).json(std::slice::from_ref(&one));
        assert_eq!(json, r#"{"scenario": "one", "than": "the library", "at_most": 1.20, "is": 1.2000}"#);
    }

    #[test]
    fn json_has_every_figure_and_every_reason() {
        let json = scenario().json();
        let ours = r#"{"site": "ours", "figures": {"per s": 1000.000, "CPU µs": 120.000}, "to_library": 1.2000, "to_best_proxy": 0.4000}"#;
        assert!(json.contains(ours), "{json}");
        assert!(json.contains(r#"{"site": "gone", "why": "not \"here\""}"#), "{json}");
    }
}
