import { useEffect, useRef } from "preact/hooks";
import { flush, unsaved } from "../outbox";
import { know, me, signedOut } from "../session";
import { facts, panes } from "../state";

const AGAIN_MS = 2000;

/** Says that the login has expired, and goes on where one was once there is a new one: nothing is lost. */
export function Login() {
  const dialog = useRef<HTMLDialogElement>(null);
  const out = signedOut.value;
  useEffect(() => {
    if (!out) {
      dialog.current?.close();
      return;
    }
    if (!dialog.current?.open) dialog.current?.showModal();
    const timer = window.setInterval(() => void again(), AGAIN_MS);
    return () => window.clearInterval(timer);
  }, [out]);
  return (
    <dialog ref={dialog} class="login" aria-labelledby="login-title" onCancel={(event) => event.preventDefault()}>
      <h2 id="login-title">Your login has expired</h2>
      <p>
        {unsaved.value
          ? `${unsaved.value} change${unsaved.value === 1 ? "" : "s"} of yours wait in this browser and are saved after the login.`
          : "Everything that you drew is saved."}
      </p>
      {me.value?.accounts === false ? (
        <p>
          Open the address that <code>coverslip view</code> printed.
        </p>
      ) : (
        <button type="button" class="main" onClick={logIn}>
          Log in
        </button>
      )}
    </dialog>
  );
}

function logIn(): void {
  window.open("login?then=/login/done", "coverslip-login", "popup,width=520,height=680");
}

async function again(): Promise<void> {
  const before = me.value?.id;
  const now = await know(true).catch(() => null);
  if (!now) return;
  const opened = panes.value.every((slide) => slide in facts.value);
  await flush();
  // somebody else may see other slides; and what could not be opened in between is opened now
  if ((before && before !== now.id) || !opened) location.reload();
}
