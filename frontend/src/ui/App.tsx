import { Admin } from "./Admin";
import { Bar } from "./Bar";
import { Help } from "./Help";
import { Login } from "./Login";
import { Panels } from "./Panels";
import { ReportDialog } from "./Report";
import { SlideList } from "./SlideList";
import { Stage } from "./Stage";
import { useKeys } from "./keys";
import { message } from "../state";

export function App() {
  useKeys();
  return (
    <div class="app">
      <Bar />
      <SlideList />
      <Stage />
      <Panels />
      <Notice />
      <Help />
      <ReportDialog />
      <Admin />
      <Login />
    </div>
  );
}

function Notice() {
  const said = message.value;
  return (
    <div class="notice" role="alert" hidden={!said}>
      {said && (
        <>
          <p>
            <strong>{said.text}</strong>
            {said.mend && <span> To mend: {said.mend}.</span>}
          </p>
          <button type="button" onClick={() => (message.value = null)}>
            Close
          </button>
        </>
      )}
    </div>
  );
}
