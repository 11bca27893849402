// The tab "Modelyard" on a run's page: the server's page of facts, in a frame whose links may open new tabs.
// A plugin's plain page would be put into a frame of Airflow's own, which forbids new tabs, and with them every link.
globalThis.AirflowPlugin = ({ dagId, runId }) =>
  globalThis.React.createElement("iframe", {
    sandbox: "allow-popups allow-popups-to-escape-sandbox",
    src: new URL(["modelyard", "runs", dagId, runId].map(encodeURIComponent).join("/"), document.baseURI).href,
    style: { border: "none", height: "100%", width: "100%" },
    title: "Modelyard",
  });
