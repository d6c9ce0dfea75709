// Starts GraphiQL (graph/graphiql.py says for whom): sends its operations with the CSRF token and
// the chosen tenant, offers the examples, and says what to do when the session has ended.
// Loaded after the bundle, of which it uses the globals React, ReactDOM and GraphiQL.
"use strict";
{
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const notice = document.getElementById("notice");
  const examples = document.getElementById("examples");
  const tenant = document.getElementById("tenant");

  const say = (text, link) => {
    notice.replaceChildren(text);
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = link.url;
      anchor.textContent = link.text;
      notice.append(" ", anchor);
    }
    notice.hidden = !text;
  };

  // Read every time: signing in anew in another tab changes it.
  const csrfToken = () =>
    document.cookie
      .split("; ")
      .find((cookie) => cookie.startsWith(`${settings.csrfCookie}=`))
      ?.slice(settings.csrfCookie.length + 1) ?? "";

  const isSubscription = (operation, { documentAST } = {}) =>
    documentAST?.definitions.some(
      (part) =>
        part.operation === "subscription" &&
        (!operation.operationName || part.name?.value === operation.operationName),
    );

  // graphql-transport-ws, with a socket of its own for each subscription: closing it ends it.
  const subscription = (operation) => ({
    subscribe: (observer) => {
      const address = new URL(settings.endpoint, location.href);
      address.protocol = address.protocol.replace("http", "ws");
      const socket = new WebSocket(address, "graphql-transport-ws");
      const send = (message) => socket.send(JSON.stringify(message));
      socket.onopen = () =>
        send({
          type: "connection_init",
          payload: tenant?.value ? { "X-Tenant-ID": tenant.value } : {},
        });
      socket.onmessage = ({ data }) => {
        const { type, payload } = JSON.parse(data);
        if (type === "connection_ack") {
          send({ type: "subscribe", id: "1", payload: operation });
          say("Waiting for changes. Press the button again to stop.");
        } else if (type === "ping") {
          send({ type: "pong" });
        } else if (type === "next") {
          observer.next(payload);
        } else if (type === "error") {
          observer.next({ errors: payload });
          socket.close(1000);
        } else if (type === "complete") {
          socket.close(1000);
        }
      };
      socket.onclose = ({ code, reason }) => {
        say("");
        if (code === 1000) {
          observer.complete();
        } else {
          observer.error(new Error(`The socket was closed: ${code} ${reason}`));
        }
      };
      return { unsubscribe: () => socket.close(1000) };
    },
  });

  const fetcher = async (operation, options = {}) => {
    if (isSubscription(operation, options)) {
      return subscription(operation);
    }
    const response = await fetch(settings.endpoint, {
      method: "POST",
      credentials: "same-origin",
      headers: {
        Accept: "application/graphql-response+json, application/json;q=0.9",
        "Content-Type": "application/json",
        [settings.csrfHeader]: csrfToken(),
        ...(tenant?.value && { "X-Tenant-ID": tenant.value }),
        ...options.headers,
      },
      body: JSON.stringify(operation),
    });
    const text = await response.text();
    let answer;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Error(`The server answered ${response.status}, and not with JSON.`);
    }
    if (response.status === 401) {
      say("Your session has ended.", { url: settings.signIn, text: "Sign in again" });
    } else {
      say(tenant && answer.code === "TENANT_REQUIRED" ? "Choose a tenant first." : "");
    }
    return answer;
  };

  // Sits inside GraphiQL, where its tabs can be reached, and shows nothing.
  const Examples = () => {
    const editors = GraphiQL.React.useEditorContext({ nonNull: true });
    const [wanted, setWanted] = React.useState(null);

    React.useEffect(() => {
      // A new tab is there one rendering after it was asked for.
      if (wanted && editors.tabs.length > wanted.tabs) {
        setWanted(null);
        editors.queryEditor?.setValue(wanted.example.query);
        editors.variableEditor?.setValue(wanted.example.variables);
      }
    }, [wanted, editors]);

    React.useEffect(() => {
      examples.disabled = !editors.queryEditor;
      examples.onchange = () => {
        const example = settings.examples[examples.value];
        examples.value = "";
        const open = editors.tabs.findIndex((tab) => tab.query === example.query);
        if (open >= 0) {
          editors.changeTab(open);
        } else {
          setWanted({ example, tabs: editors.tabs.length });
          editors.addTab();
        }
      };
    }, [editors]);
    return null;
  };

  const start = () => {
    // By this name the bundle asks which nonce its style element has to carry.
    window.__webpack_nonce__ = settings.nonce;
    settings.examples.forEach((example, index) => {
      examples.append(new Option(example.title, index));
    });
    const element = React.createElement(
      GraphiQL,
      {
        fetcher,
        storage: GraphiQL.createLocalStorage({ namespace: settings.storage }),
        // One tab per example on the first visit; afterwards the tabs the person left.
        defaultTabs: settings.examples.map(({ query, variables }) => ({ query, variables })),
        defaultQuery: "",
        // A header may hold a credential: it is gone with the page.
        shouldPersistHeaders: false,
      },
      React.createElement(GraphiQL.Logo, null, ""),
      React.createElement(Examples),
    );
    ReactDOM.createRoot(document.getElementById("graphiql")).render(element);
  };

  if (tenant) {
    const key = `${settings.storage}:tenant`;
    const remembered = sessionStorage.getItem(key) ?? "";
    tenant.value = [...tenant.options].some(({ value }) => value === remembered) ? remembered : "";
    tenant.onchange = () => {
      sessionStorage.setItem(key, tenant.value);
      say("");
    };
  }

  if (window.React && window.ReactDOM && window.GraphiQL) {
    start();
  } else {
    document.getElementById("waiting").textContent =
      "GraphiQL could not be loaded. This server has no copy of it (its set-up found no npm), and " +
      "the network it would come from does not answer. The endpoint itself works: use any other " +
      "GraphQL client.";
  }
}
