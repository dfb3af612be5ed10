/** The dashboard: the connection, the progress of the jobs, and those that have finished. */

import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from 'gathering-gateway';
import { GatewayProvider, useConnection, useItems, useRoom } from 'gathering-gateway/react';

interface Progress {
  'job.progress': { name: string; percent: number };
}
interface Events extends Progress {
  'job.finished': { name: string };
}

const client = connect<Events>({
  url: '/ws/dashboard',
  token: async () => (await fetch('/my/gateway-token')).text(), // called again when a token expires
});

function Connection() {
  const { state, reason } = useConnection();
  return <p role="status">{state} {reason}</p>;
}

function Jobs() {
  const items = useItems<Progress>('circle:7');
  return (
    <ul>
      {[...items].map(([key, { data }]) => (
        <li key={key}>{data.name} <progress max={100} value={data.percent} /></li>
      ))}
    </ul>
  );
}

function Finished() {
  const [names, setNames] = useState<string[]>([]);
  const [complete, setComplete] = useState(true);
  useRoom<Events>('circle:7', {
    onEvent: (event) => {
      if (event.type === 'job.finished') setNames((before) => [...before, event.data.name]);
    },
    onGap: () => setComplete(false),
  });
  return <p>Finished: {names.join(', ')} {!complete && '(some are missing)'}</p>;
}

const start = async (form: FormData) => {
  await fetch(`/jobs/${form.get('name')}`, { method: 'POST' });
};

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <GatewayProvider client={client}>
      <Connection />
      <form action={start}><input name="name" defaultValue="report" /> <button>Start</button></form>
      <Jobs />
      <Finished />
    </GatewayProvider>
  </StrictMode>,
);
